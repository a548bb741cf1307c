"""`python check_discriminator.py --gen-ckpt 690` from the project's folder; see piano/check_discriminator.py."""

from piano.check_discriminator import main

if __name__ == "__main__":
    raise SystemExit(main())
