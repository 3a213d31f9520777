"""Zero-shot evaluation on labelled data sets: readers, scores and reports."""
