"""Fine-tuning: pairs of a question and a passage make the embedding better, or nothing is kept."""
