"""Files over streams: sent, received, checked, and never half."""

from meshsync.files.transfer import ReceivedFile, SentFile, receive_file, send_file

__all__ = ["ReceivedFile", "SentFile", "receive_file", "send_file"]
