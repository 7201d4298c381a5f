import java.io.InputStream;
import java.io.OutputStream;
import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.PasswordAuthentication;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Base64;
import javax.xml.namespace.QName;
import javax.xml.soap.MessageFactory;
import javax.xml.soap.SOAPConnectionFactory;
import javax.xml.soap.SOAPElement;
import javax.xml.soap.SOAPHeader;
import javax.xml.soap.SOAPMessage;
import javax.xml.transform.Source;
import javax.xml.transform.stream.StreamSource;
import javax.xml.ws.BindingProvider;
import javax.xml.ws.Dispatch;
import javax.xml.ws.Service;
import javax.xml.ws.soap.SOAPBinding;

/** Posts an order, or says hello in SOAP, to URL as USER with PASSWORD by one STACK; prints the status or what came of it. */
public class JavaCaller {
    static final String WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-";
    static final String ORDER = "{\"item\":\"valve\",\"quantity\":3}";
    static final String HELLO = "http://sandbox.example/hello";

    public static void main(String[] arguments) throws Exception {
        String url = arguments[1], user = arguments[2], password = arguments[3];
        Authenticator credentials = new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(user, password.toCharArray());
            }
        };
        switch (arguments[0]) {
            case "http-client" -> callHttpClient(url, credentials);
            case "url-connection" -> callUrlConnection(url, credentials);
            case "jax-ws" -> callJaxWs(url, user, password);
            default -> callSaaj(url, user, password, arguments[0].equals("saaj-digest"));
        }
    }

    static void callHttpClient(String url, Authenticator credentials) throws Exception {
        HttpClient client = HttpClient.newBuilder().authenticator(credentials).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(ORDER)).build();
        for (int call = 0; call < 2; call++) {
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
    }

    static void callUrlConnection(String url, Authenticator credentials) throws Exception {
        Authenticator.setDefault(credentials);
        for (int call = 0; call < 2; call++) {
            HttpURLConnection connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
            connection.setDoOutput(true);
            connection.setRequestProperty("Content-Type", "application/json");
            try (OutputStream body = connection.getOutputStream()) { body.write(ORDER.getBytes(StandardCharsets.UTF_8)); }
            System.out.println(connection.getResponseCode());
            try (InputStream body = connection.getInputStream()) { body.readAllBytes(); }
        }
    }

    static void callJaxWs(String url, String user, String password) {
        QName port = new QName(HELLO, "HelloPort");
        Service service = Service.create(new QName(HELLO, "HelloService"));
        service.addPort(port, SOAPBinding.SOAP11HTTP_BINDING, url);
        Dispatch<Source> dispatch = service.createDispatch(port, Source.class, Service.Mode.PAYLOAD);
        dispatch.getRequestContext().put(BindingProvider.USERNAME_PROPERTY, user);
        dispatch.getRequestContext().put(BindingProvider.PASSWORD_PROPERTY, password);
        dispatch.getRequestContext().put(BindingProvider.SOAPACTION_USE_PROPERTY, true);
        dispatch.getRequestContext().put(BindingProvider.SOAPACTION_URI_PROPERTY, "hello");
        String hello = "<hello xmlns='" + HELLO + "'><name>World</name></hello>";
        try {
            dispatch.invoke(new StreamSource(new java.io.StringReader(hello)));
            System.out.println("reply");
        } catch (javax.xml.ws.soap.SOAPFaultException fault) {
            System.out.println("fault: " + fault.getFault().getFaultString());
        } catch (javax.xml.ws.WebServiceException error) {
            System.out.println("error: " + error.getMessage());
        }
    }

    static void callSaaj(String url, String user, String password, boolean isDigest) throws Exception {
        SOAPMessage message = MessageFactory.newInstance().createMessage();
        message.getMimeHeaders().addHeader("SOAPAction", "\"hello\"");
        message.getSOAPBody().addBodyElement(new QName(HELLO, "hello")).addChildElement(new QName(HELLO, "name"))
            .addTextNode("World");
        addToken(message.getSOAPHeader(), user, password, isDigest);
        message.saveChanges();
        SOAPMessage reply = SOAPConnectionFactory.newInstance().createConnection().call(message, url);
        System.out.println(reply.getSOAPBody().hasFault() ? "fault: " + reply.getSOAPBody().getFault().getFaultString() : "reply");
    }

    static void addToken(SOAPHeader header, String user, String password, boolean isDigest) throws Exception {
        String extension = WSS + "wssecurity-secext-1.0.xsd", utility = WSS + "wssecurity-utility-1.0.xsd";
        SOAPElement token = header.addChildElement("Security", "wsse", extension).addChildElement("UsernameToken", "wsse");
        token.addChildElement("Username", "wsse").addTextNode(user);
        SOAPElement secret = token.addChildElement("Password", "wsse");
        secret.setAttribute("Type", WSS + "username-token-profile-1.0#" + (isDigest ? "PasswordDigest" : "PasswordText"));
        if (!isDigest) {
            secret.addTextNode(password);
            return;
        }
        byte[] nonce = new byte[16];
        new SecureRandom().nextBytes(nonce);
        String created = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
        MessageDigest sha1 = MessageDigest.getInstance("SHA-1");
        sha1.update(nonce);
        sha1.update(created.getBytes(StandardCharsets.UTF_8));
        sha1.update(password.getBytes(StandardCharsets.UTF_8));
        secret.addTextNode(Base64.getEncoder().encodeToString(sha1.digest()));
        token.addChildElement("Nonce", "wsse").addTextNode(Base64.getEncoder().encodeToString(nonce));
        token.addChildElement("Created", "wsu", utility).addTextNode(created);
    }
}
