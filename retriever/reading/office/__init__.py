"""What office programs write: Word, PowerPoint, Excel, OpenDocument, also under a password."""
