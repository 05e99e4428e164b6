"""One HTTP request, cancellable from any thread; the only importer of requests and urllib3."""
