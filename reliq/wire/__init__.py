"""What travels: the envelope, its codec, typed arguments.  `V1.md` beside this file describes the bytes."""
