/* Calls URL and prints the Fault's text, or what else came of it. The SOAP version is that of the headers' namespace. */
#include <stdio.h>
#include <string.h>
#include "soapH.h"
#include "hello.nsmap"

int main(int count, char **arguments)
{
    struct soap *soap = soap_new();
    char *result = NULL;
    (void) count;
    if (soap_call_h__hello(soap, arguments[1], NULL, NULL, &result) == SOAP_OK)
        puts("reply");
    else
        printf("fault: %s\n", soap->fault && *soap_faultstring(soap) ? *soap_faultstring(soap) : "");
    soap_end(soap);
    soap_free(soap);
    return 0;
}
