"""From a dataset to shuffled batches: sampler, reader, prefetching, page cache. Only numpy."""
