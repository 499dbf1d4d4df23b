//! From a corpus to a data set.
