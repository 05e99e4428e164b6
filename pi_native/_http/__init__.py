"""One HTTP request that any thread can cancel. Only this package imports requests and urllib3."""
