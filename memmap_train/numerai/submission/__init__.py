"""Files sent to Numerai, in steps of which none is repeated blindly."""
