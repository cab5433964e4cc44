"""Registries: the digest behind a name, and images in and out by digest (OCI distribution API).

Nothing is imported here: names of images are read everywhere, and the HTTP library that `client` needs is slow to import and must
not come before gevent's changes to `ssl`.
"""
