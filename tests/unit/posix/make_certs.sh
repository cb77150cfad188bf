#!/bin/sh
# Certificates for test_tls.c, by the openssl command, into the folder given. SPDX-License-Identifier: MIT
set -eu
cd "$1"
cat >ca.cnf <<END
[ca]
default_ca = d
[d]
dir = .
new_certs_dir = .
database = index.txt
serial = serial
default_md = sha256
policy = p
unique_subject = no
copy_extensions = copy
[p]
commonName = supplied
[req]
distinguished_name = dn
[dn]
[v3_ca]
basicConstraints = critical,CA:TRUE
END
: >index.txt
echo 1000 >serial
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }
for ca in ca other; do
    key $ca
    openssl req -config ca.cnf -x509 -new -key $ca.key -subj "/CN=Test $ca" -days 3650 -extensions v3_ca -out $ca.pem
done
# leaf NAME SAN START END [EKU]
leaf() {
    key "$1"
    openssl req -config ca.cnf -new -key "$1.key" -subj "/CN=$1" -addext "subjectAltName=$2" ${5:+-addext "extendedKeyUsage=$5"} \
        -out "$1.csr"
    openssl ca -config ca.cnf -batch -notext -cert ca.pem -keyfile ca.key -startdate "$3" -enddate "$4" -in "$1.csr" \
        -out "$1.pem" 2>/dev/null
}
names=DNS:relay.example,DNS:*.wild.example,IP:127.0.0.1,IP:2001:db8::1
leaf good "$names" 20200101000000Z 20991231235959Z serverAuth
leaf expired "$names" 20200101000000Z 20210101000000Z
leaf future "$names" 20900101000000Z 20991231235959Z
leaf client "$names" 20200101000000Z 20991231235959Z clientAuth
# Meta certificates: their common name is longer than the command allows, so they are put together from ASN.1. Nobody checks
# their signature. The official one is Ed25519; an ECDSA one is readable for libraries without Ed25519.
# meta NAME SIG_OID KEY_HEX SPKI_PARAMETERS
meta() {
    cat >"$1.cnf" <<END
asn1 = SEQUENCE:cert
[cert]
tbs = SEQUENCE:tbs
alg = SEQUENCE:alg
sig = FORMAT:HEX,BITSTRING:3006020101020101
[tbs]
version = EXPLICIT:0,INTEGER:2
serial = INTEGER:2
alg = SEQUENCE:alg
issuer = SEQUENCE:name
validity = SEQUENCE:validity
subject = SEQUENCE:name
spki = SEQUENCE:spki
[alg]
oid = OID:$2
[name]
rdn = SET:rdn
[rdn]
attr = SEQUENCE:attr
[attr]
oid = OID:2.5.4.3
value = UTF8String:derpkey00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
[validity]
from = UTCTIME:200101000000Z
to = GENERALIZEDTIME:20991231235959Z
[spki]
alg = SEQUENCE:spki_alg
key = FORMAT:HEX,BITSTRING:$3
[spki_alg]
$4
END
    openssl asn1parse -genconf "$1.cnf" -noout -out "$1.der"
    openssl x509 -inform DER -in "$1.der" -out "$1.pem"
}
hex() { od -An -v -tx1 | tr -d ' \n'; }
openssl genpkey -algorithm ed25519 -out ed.key
meta meta 1.3.101.112 "$(openssl pkey -in ed.key -pubout -outform DER | tail -c 32 | hex)" 'oid = OID:1.3.101.112'
meta meta_ec 1.2.840.10045.4.3.2 "$(openssl pkey -in ca.key -pubout -outform DER | tail -c 65 | hex)" 'oid = OID:1.2.840.10045.2.1
curve = OID:1.2.840.10045.3.1.7'
for c in good expired; do openssl x509 -in $c.pem -outform DER | openssl dgst -sha256 -r | cut -c1-64 >$c.sha256; done
