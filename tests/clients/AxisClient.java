import java.net.URL;
import javax.xml.namespace.QName;
import org.apache.axis.AxisFault;
import org.apache.axis.client.Call;
import org.apache.axis.client.Service;
import org.apache.axis.soap.SOAPConstants;

/** Calls URL in SOAP VERSION (1.1 or 1.2) and prints the Fault's text, or what else came of it. */
public class AxisClient {
    public static void main(String[] arguments) throws Exception {
        Call call = (Call) new Service().createCall();
        call.setTargetEndpointAddress(new URL(arguments[0]));
        call.setSOAPVersion(arguments[1].equals("1.2") ? SOAPConstants.SOAP12_CONSTANTS : SOAPConstants.SOAP11_CONSTANTS);
        call.setSOAPActionURI("urn:h:hello");
        call.setUseSOAPAction(true);
        call.setOperationName(new QName("urn:h", "hello"));
        try {
            call.invoke(new Object[0]);
            System.out.println("reply");
        } catch (AxisFault fault) {
            System.out.println("fault: " + fault.getFaultString());
        }
    }
}
