//! Counters and histograms, one shard per worker.
