"""`reliq demo`: the standard library counted by workers that are killed while they count, and a proof of the sum."""
