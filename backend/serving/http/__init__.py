"""The service over HTTP: who listens, the limits that clients are held to, and requests as calls of the service."""
