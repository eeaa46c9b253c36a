"""Filters that wrap the writer and the reader of a stream: compression, encryption, joining, and those of users."""

from meshsync.filters.filtering import CHUNK_LIMIT, FilteredReader, FilteredWriter, StreamFilter, filtered

__all__ = ["CHUNK_LIMIT", "FilteredReader", "FilteredWriter", "StreamFilter", "filtered"]
