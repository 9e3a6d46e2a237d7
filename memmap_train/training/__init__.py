"""DOOR 2: the only rooms that import TensorFlow and Keras.

From `Batches` to a trained model and its predictions. Everything else of the package works without
these rooms, and nothing is imported here before one of them is asked for:

=================  =================================================================================
model              the built-in models
own_models         models that a user brings: of his function, or saved before
callbacks          the user's Keras callbacks, and the log for TensorBoard
named              what a user names as package.module:name
step               one compiled step: masked loss, gradients, optimizer; and all state it changes
predict            a model over eras in order: predictions, and the CSV file of them
validation         per-era scores of a model
monitor            what the monitored score decides: best epoch, learning rate
setup              a configuration resolved for a dataset
reporting          what a training says while it runs and when it is done
loop               `train`: epochs, checkpoints, early stopping, the run's folder
walk_forward       `train_folds`: folds one after another, and their scores together
keras_batches      batches for anybody's own ``model.fit``
=================  =================================================================================

None of them imports pyarrow or `memmap_train.parquet` (Keras imports pandas where that is
installed, and pandas imports pyarrow: that is none of ours).
"""
