"""Open connections to cameras and recordings, one module a kind; each is a `Stream` of `camera.live`."""
