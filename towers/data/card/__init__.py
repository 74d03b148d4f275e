"""The data card: what is in a folder of canonical tables, measured, drawn and written for people."""
