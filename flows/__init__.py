"""When things happen: one file, one flow, readable as a story; and the command line."""
