"""Starts and watches workers: on this host, on Ray, as a service."""
