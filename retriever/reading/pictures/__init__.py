"""OCR of picture files and of scanned PDF pages."""
