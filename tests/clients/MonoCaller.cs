using System;
using System.IO;
using System.Net;
using System.ServiceModel;
using System.ServiceModel.Channels;
using System.ServiceModel.Description;
using System.Text;
using System.Xml;

/// Posts an order, or says hello in SOAP, to URL as USER with PASSWORD by one STACK; prints the status of each call.
static class MonoCaller
{
    const string Order = "{\"item\":\"valve\",\"quantity\":3}";
    const string Hello = "http://sandbox.example/hello";

    static void Main(string[] arguments)
    {
        string stack = arguments[0], url = arguments[1];
        var credentials = new NetworkCredential(arguments[2], arguments[3]);
        try
        {
            if (stack == "web-client") CallWebClient(url, credentials);
            else if (stack == "wcf") CallWcf(url, credentials);
            else for (int call = 0; call < 2; call++) CallWebRequest(url, credentials, stack == "pre-authenticate");
        }
        catch (WebException error)
        {
            var response = (HttpWebResponse) error.Response;
            Console.WriteLine(response == null ? error.Message : ((int) response.StatusCode).ToString());
        }
        catch (FaultException fault) { Console.WriteLine("fault: " + fault.Reason); }
        catch (Exception error) { Console.WriteLine("no fault: " + error.GetType() + ": " + error.Message); }
    }

    static void CallWebRequest(string url, ICredentials credentials, bool isPreAuthenticated)
    {
        var request = (HttpWebRequest) WebRequest.Create(url);
        request.Method = "POST";
        request.ContentType = "application/json";
        request.Credentials = credentials;
        request.PreAuthenticate = isPreAuthenticated;
        var body = Encoding.UTF8.GetBytes(Order);
        using (var stream = request.GetRequestStream()) stream.Write(body, 0, body.Length);
        using (var response = (HttpWebResponse) request.GetResponse())
        using (var reader = new StreamReader(response.GetResponseStream()))
        {
            reader.ReadToEnd();
            Console.WriteLine((int) response.StatusCode);
        }
    }

    static void CallWebClient(string url, ICredentials credentials)
    {
        var client = new WebClient { Credentials = credentials };
        client.Headers[HttpRequestHeader.ContentType] = "application/json";
        client.UploadString(url, Order);
        Console.WriteLine("201");
    }

    static void CallWcf(string url, NetworkCredential credentials)
    {
        var binding = new BasicHttpBinding(BasicHttpSecurityMode.TransportCredentialOnly);
        binding.Security.Transport.ClientCredentialType = HttpClientCredentialType.Basic;
        var user = new ClientCredentials();
        user.UserName.UserName = credentials.UserName;
        user.UserName.Password = credentials.Password;
        var factory = binding.BuildChannelFactory<IRequestChannel>(new BindingParameterCollection { user });
        factory.Open();
        var channel = factory.CreateChannel(new EndpointAddress(url));
        channel.Open();
        var body = XmlReader.Create(new StringReader("<hello xmlns='" + Hello + "'><name>World</name></hello>"));
        var reply = channel.Request(Message.CreateMessage(MessageVersion.Soap11, "hello", body));
        if (reply.IsFault) Console.WriteLine("fault: " + MessageFault.CreateFault(reply, 65536).Reason);
        else Console.WriteLine("reply");
    }
}
