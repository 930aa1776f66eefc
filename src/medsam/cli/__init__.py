"""One `medsam` command; each verb parses, calls one function, prints or writes."""
