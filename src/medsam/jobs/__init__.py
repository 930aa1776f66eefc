"""What a person asks for: files in, files out, a record and progress."""
