"""Learning: teachers, distillation, curriculum, export."""
