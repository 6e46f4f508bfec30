"""Signing in at the plant's login provider: OpenID Connect's authorization code with PKCE, each answer checked."""
