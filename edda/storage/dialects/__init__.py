"""What differs between databases: one file for each, with the same names."""
