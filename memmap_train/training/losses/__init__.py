"""Losses of a batch: of rows, of the eras that it holds, and penalties beside them.

Every loss takes predictions and targets of shape (eras, rows, targets), of which a target of NaN is
no label, and the features of shape (eras, rows, features). A batch of rows counts as one era.
"""
