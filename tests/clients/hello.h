//gsoap h service name: hello
//gsoap h service namespace: urn:h
//gsoap h service method-action: hello "urn:h:hello"
int h__hello(void *_, char **result);
