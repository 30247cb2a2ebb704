"""The networks that the field compares on, one family a file, layers named as in the field's weights files."""
