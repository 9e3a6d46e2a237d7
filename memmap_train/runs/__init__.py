"""What a run is: configuration, folds, scores, record, checkpoints, resume. Free of TensorFlow."""
