"""Everything that knows SQL; the rest of the package sees protocol, records and writes."""
