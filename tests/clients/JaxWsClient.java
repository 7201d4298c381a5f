import java.io.StringReader;
import javax.xml.namespace.QName;
import javax.xml.transform.Source;
import javax.xml.transform.stream.StreamSource;
import javax.xml.ws.BindingProvider;
import javax.xml.ws.Dispatch;
import javax.xml.ws.Service;
import javax.xml.ws.soap.SOAPBinding;
import javax.xml.ws.soap.SOAPFaultException;

/** Calls URL in SOAP VERSION (1.1 or 1.2) and prints the Fault's text, or what else came of it. */
public class JaxWsClient {
    public static void main(String[] arguments) {
        QName port = new QName("urn:h", "HelloPort");
        Service service = Service.create(new QName("urn:h", "HelloService"));
        boolean isNew = arguments[1].equals("1.2");
        service.addPort(port, isNew ? SOAPBinding.SOAP12HTTP_BINDING : SOAPBinding.SOAP11HTTP_BINDING, arguments[0]);
        Dispatch<Source> dispatch = service.createDispatch(port, Source.class, Service.Mode.PAYLOAD);
        dispatch.getRequestContext().put(BindingProvider.SOAPACTION_USE_PROPERTY, true);
        dispatch.getRequestContext().put(BindingProvider.SOAPACTION_URI_PROPERTY, "urn:h:hello");
        try {
            dispatch.invoke(new StreamSource(new StringReader("<h:hello xmlns:h='urn:h'/>")));
            System.out.println("reply");
        } catch (SOAPFaultException fault) {
            System.out.println("fault: " + fault.getFault().getFaultString());
        } catch (Exception error) {
            System.out.println("no fault: " + error);
        }
    }
}
