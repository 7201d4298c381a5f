using System;
using System.ServiceModel;
using System.ServiceModel.Channels;
using System.Web.Services;
using SoapBindingUse = System.Web.Services.Description.SoapBindingUse;
using System.Web.Services.Protocols;

[WebServiceBinding(Name = "Hello", Namespace = "urn:h")]
class Asmx : SoapHttpClientProtocol
{
    [SoapDocumentMethod("urn:h:hello", RequestNamespace = "urn:h", ResponseNamespace = "urn:h",
        Use = SoapBindingUse.Literal, ParameterStyle = SoapParameterStyle.Wrapped)]
    public string hello() { return (string) Invoke("hello", new object[0])[0]; }
}

/// Calls URL in SOAP VERSION (1.1 or 1.2) with STACK (asmx or wcf) and prints the Fault's text, or what else came of it.
static class MonoClient
{
    static void Main(string[] arguments)
    {
        bool isNew = arguments[1] == "1.2";
        try
        {
            if (arguments[2] == "asmx")
            {
                var version = isNew ? SoapProtocolVersion.Soap12 : SoapProtocolVersion.Soap11;
                new Asmx { Url = arguments[0], SoapVersion = version }.hello();
                Console.WriteLine("reply");
            }
            else CallWcf(arguments[0], isNew);
        }
        catch (SoapException fault) { Console.WriteLine("fault: " + fault.Message); }
        catch (FaultException fault) { Console.WriteLine("fault: " + fault.Reason); }
        catch (Exception error) { Console.WriteLine("no fault: " + error.GetType() + ": " + error.Message); }
    }

    static void CallWcf(string url, bool isNew)
    {
        var version = isNew ? MessageVersion.CreateVersion(EnvelopeVersion.Soap12, AddressingVersion.None) : MessageVersion.Soap11;
        var binding = new CustomBinding(new TextMessageEncodingBindingElement(version, System.Text.Encoding.UTF8), new HttpTransportBindingElement());
        var factory = binding.BuildChannelFactory<IRequestChannel>();
        factory.Open();
        var channel = factory.CreateChannel(new EndpointAddress(url));
        channel.Open();
        var reply = channel.Request(Message.CreateMessage(version, "urn:h:hello"));
        if (reply.IsFault) Console.WriteLine("fault: " + MessageFault.CreateFault(reply, 65536).Reason);
        else Console.WriteLine("reply");
    }
}
