"""Pictures of text, and the OCR that reads them."""
