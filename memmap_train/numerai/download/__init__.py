"""`download`: Numerai's files in a folder, whole or not at all."""
