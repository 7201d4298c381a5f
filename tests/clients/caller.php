<?php
/* Says hello in SOAP to a URL as USER with PASSWORD by one STACK: `login`, `text` or `digest`. Prints what came of it. */
[, $stack, $wsdl, $url, $user, $password] = $argv;
const WSS = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-';
$options = ['location' => $url, 'cache_wsdl' => WSDL_CACHE_NONE, 'exceptions' => true];
if ($stack === 'login') {
    $options += ['login' => $user, 'password' => $password];
}
$client = new SoapClient($wsdl, $options);
if ($stack !== 'login') {
    [$kind, $secret, $rest] = ['PasswordText', $password, ''];
    if ($stack === 'digest') {
        $nonce = random_bytes(16);
        $created = gmdate('Y-m-d\TH:i:s\Z');
        [$kind, $secret] = ['PasswordDigest', base64_encode(sha1($nonce . $created . $password, true))];
        $rest = '<wsse:Nonce>' . base64_encode($nonce) . "</wsse:Nonce><wsu:Created>$created</wsu:Created>";
    }
    $type = WSS . 'username-token-profile-1.0#' . $kind;
    $token = '<wsse:Security xmlns:wsse="' . WSS . 'wssecurity-secext-1.0.xsd" xmlns:wsu="' . WSS
        . 'wssecurity-utility-1.0.xsd"><wsse:UsernameToken><wsse:Username>' . $user . '</wsse:Username>'
        . "<wsse:Password Type=\"$type\">$secret</wsse:Password>$rest</wsse:UsernameToken></wsse:Security>";
    $client->__setSoapHeaders(
        new SoapHeader(WSS . 'wssecurity-secext-1.0.xsd', 'Security', new SoapVar($token, XSD_ANYXML))
    );
}
try {
    $client->hello(['name' => 'World']);
    echo "reply\n";
} catch (SoapFault $fault) {
    echo 'fault: ', $fault->getMessage(), "\n";
}
