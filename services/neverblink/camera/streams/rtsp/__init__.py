"""Network cameras by RTSP, interleaved in TCP (RFC 2326).

The packets are received here and not by FFmpeg, because FFmpeg drops their sequence numbers. They alone tell that one
is lost: of pictures in H.264 with a hole FFmpeg's decoder takes up to one in seven for whole, and of those in H.265
all (`docs/guides/cameras.md`).
"""
