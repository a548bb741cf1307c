"""The site of the documents: one command builds it out of what lies in the folders of the project."""
