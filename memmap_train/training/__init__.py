"""Training with Keras. Only this package imports TensorFlow and Keras.

From `Batches` to a trained model and its predictions. It doesn't import pyarrow; a file of
predictions is written by `conversion.parquet`. (Keras imports pandas where that is installed, and
pandas imports pyarrow.)
"""
