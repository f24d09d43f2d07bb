/*
 * capd._survey, the packets: which addresses, ports, protocols and EtherTypes are where a
 * filter of pcap-filter(7) may look for them.
 *
 * libpcap looks at fixed places and believes what led there: it does not check versions
 * or lengths.  So does this, and looks everywhere that a filter's keywords can lead: behind
 * `vlan`, `mpls`, `pppoes`, `geneve` and `vxlan`.  Too much costs time; too little, packets.
 * A field that was not captured matches nothing, because a program that loads it rejects
 * the packet.  Bytes in the machine's order are little endian, as all of pcapng here.
 */

#include "_sketch.h"

#include <string.h>

#define LINK_ETHERNET 1
#define LINK_RAW 101
#define LINK_SLL 113
#define LINK_IPV4 228
#define LINK_IPV6 229
#define LINK_SLL2 276

#define ETHERNET_TYPE 12u /* where it stands; what it tells of begins behind it */
#define SLL_TYPE 14u
#define SLL2_TYPE 0u
#define SLL2_HEADER 20u

#define MOST_LENGTH 1500u /* a type up to this is a length, and LLC follows */
#define TYPE_IPV4 0x0800u
#define TYPE_ARP 0x0806u
#define TYPE_TRANSPARENT_ETHERNET 0x6558u
#define TYPE_RARP 0x8035u
#define TYPE_VLAN 0x8100u
#define TYPE_IPV6 0x86DDu
#define TYPE_MPLS 0x8847u
#define TYPE_MPLS_MULTICAST 0x8848u
#define TYPE_PPPOE 0x8864u
#define TYPE_SERVICE_VLAN 0x88A8u
#define TYPE_OLD_QINQ 0x9100u

#define PPP_IPV4 0x0021u
#define PPP_IPV6 0x0057u
#define PPP_MPLS 0x0281u
#define PPP_MPLS_MULTICAST 0x0283u
#define PPP_NETWORK_LAYER 0x3FFFu /* up to here, numbers stand for EtherTypes */

#define HOP_BY_HOP 0u
#define TCP 6u
#define UDP 17u
#define ROUTING 43u
#define FRAGMENT 44u
#define AUTHENTICATION 51u
#define DESTINATION 60u
#define MOBILITY 135u
#define HIP 139u
#define SHIM6 140u
#define SCTP 132u

#define IPV4_LEAST 10u /* up to the protocol */
#define IPV6_HEADER 40u
#define UDP_HEADER 8u
#define TUNNEL_HEADER 8u /* Geneve without its options, VXLAN */
#define PORT_GENEVE 6081u
#define PORT_VXLAN 4789u

struct packet {
    struct sketch *sketch;
    const uint8_t *data;
    size_t captured;
    size_t at;     /* what `type` tells of begins here */
    unsigned type; /* an EtherType */
};

static unsigned
get_be16(const uint8_t *from)
{
    return (unsigned)from[0] << 8 | from[1];
}

static uint32_t
get_be32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return __builtin_bswap32(value);
}

static bool
there(const struct packet *packet, size_t at, size_t size)
{
    return at <= packet->captured && size <= packet->captured - at;
}

/* The EtherType at `place` tells of what begins at `at`. */
static bool
enter(struct packet *packet, size_t place, size_t at)
{
    if (!there(packet, place, 2))
        return false;
    packet->type = get_be16(packet->data + place);
    packet->at = at;
    return true;
}

/* Into the tunnel that a datagram at `at`, to this port, is. */
static bool
enter_tunnel(struct packet *packet, size_t at, unsigned port)
{
    size_t header = at + UDP_HEADER;
    size_t inner = header + TUNNEL_HEADER;
    if (port == PORT_GENEVE) {
        if (!there(packet, header, 4)) /* up to the EtherType */
            return false;
        inner += (size_t)(packet->data[header] & 0x3F) * 4;
        if (get_be16(packet->data + header + 2) != TYPE_TRANSPARENT_ETHERNET)
            return enter(packet, header + 2, inner);
    }
    return enter(packet, inner + ETHERNET_TYPE, inner + ETHERNET_TYPE + 2);
}

/* Whether there is a tunnel to go on in: a rare port, asked for first, decides quickly. */
static bool
note_ports(struct packet *packet, unsigned protocol, size_t at)
{
    uint64_t *ports = packet->sketch->ports;
    if (there(packet, at, 2))
        note_number(ports, get_be16(packet->data + at));
    if (!there(packet, at, 4))
        return false;
    unsigned port = get_be16(packet->data + at + 2);
    note_number(ports, port);
    return (port == PORT_GENEVE || port == PORT_VXLAN) && protocol == UDP &&
           enter_tunnel(packet, at, port);
}

/*
 * The payload of an IP packet at `at`, through all headers that have another one behind
 * them.  Whether there is a tunnel to go on in.
 */
static bool
note_payload(struct packet *packet, unsigned protocol, size_t at)
{
    struct sketch *sketch = packet->sketch;
    const uint8_t *data = packet->data;

    for (;;) {
        bool whole = there(packet, at, 4); /* as much of a header as is of use here */
        bool later = false;
        size_t length = 8;
        note_number(sketch->protocols, protocol);
        switch (protocol) {
        case TCP:
        case UDP:
        case SCTP:
            return note_ports(packet, protocol, at);
        case HOP_BY_HOP:
        case ROUTING:
        case DESTINATION:
        case MOBILITY:
        case HIP:
        case SHIM6:
            length = whole ? ((size_t)data[at + 1] + 1) * 8 : length;
            break;
        case AUTHENTICATION:
            length = whole ? ((size_t)data[at + 1] + 2) * 4 : length;
            break;
        case FRAGMENT:
            sketch->fragmented = true;
            later = whole && get_be16(data + at + 2) >> 3 != 0;
            break;
        default:
            return false;
        }
        if (!there(packet, at, 1))
            return false;
        protocol = data[at];
        if (later) {
            note_number(sketch->protocols, protocol);
            return false;
        }
        at += length;
    }
}

/* Which pairs of addresses go by, and how they repeat, decides how fast this is. */
static void
note_pair_v4(struct sketch *sketch, const uint8_t *addresses)
{
    if (sketch->keys > MOST_KEYS)
        return;
    uint64_t pair;
    memcpy(&pair, addresses, sizeof pair);
    uint64_t *known = &sketch->pairs_v4[(pair * 0x9E3779B97F4A7C15u) >> 52];
    if (*known == pair && pair != 0) /* 0 stands for none */
        return;
    *known = pair;
    note_v4(sketch, get_be32(addresses));
    note_v4(sketch, get_be32(addresses + 4));
}

static bool
note_ipv4(struct packet *packet)
{
    const uint8_t *header = packet->data + packet->at;

    if (there(packet, packet->at, 20))
        note_pair_v4(packet->sketch, header + 12);
    else if (there(packet, packet->at, 16))
        note_v4(packet->sketch, get_be32(header + 12));
    unsigned fragment = there(packet, packet->at, 8) ? get_be16(header + 6) : 0;
    if (fragment & 0x3FFF)
        packet->sketch->fragmented = true;
    if (!there(packet, packet->at, IPV4_LEAST))
        return false;
    if (fragment & 0x1FFF) { /* has no ports */
        note_number(packet->sketch->protocols, header[9]);
        return false;
    }
    return note_payload(packet, header[9], packet->at + (size_t)(header[0] & 0x0F) * 4);
}

static void
note_pair_v6(struct sketch *sketch, const uint8_t *addresses)
{
    static const uint8_t none[PAIR_V6_BYTES];
    if (sketch->keys > MOST_KEYS)
        return;
    uint64_t words[4];
    memcpy(words, addresses, sizeof words);
    uint64_t mixed = (words[0] ^ words[1] * 3 ^ words[2] * 5 ^ words[3] * 7);
    uint8_t *known = sketch->pairs_v6[(mixed * 0x9E3779B97F4A7C15u) >> 55];
    if (memcmp(known, addresses, PAIR_V6_BYTES) == 0 &&
        memcmp(addresses, none, PAIR_V6_BYTES) != 0)
        return;
    memcpy(known, addresses, PAIR_V6_BYTES);
    note_v6(sketch, addresses, 16);
    note_v6(sketch, addresses + 16, 16);
}

static bool
note_ipv6(struct packet *packet)
{
    const uint8_t *header = packet->data + packet->at;
    size_t left = packet->captured - packet->at;

    if (left >= IPV6_HEADER) {
        note_pair_v6(packet->sketch, header + 8);
    } else {
        if (left > 8)
            note_v6(packet->sketch, header + 8, left - 8 < 16 ? left - 8 : 16);
        if (left > 24)
            note_v6(packet->sketch, header + 24, left - 24);
    }
    return left > 6 && note_payload(packet, header[6], packet->at + IPV6_HEADER);
}

/* Sender and target, where an ARP for IPv4 over Ethernet has them. */
static void
note_arp(struct packet *packet)
{
    for (size_t at = 14; at <= 24; at += 10)
        if (there(packet, packet->at + at, 4))
            note_v4(packet->sketch, get_be32(packet->data + packet->at + at));
}

/* Past all labels: what is behind the last one says by its first bits what it is. */
static bool
enter_mpls(struct packet *packet)
{
    do {
        if (!there(packet, packet->at, 5))
            return false;
        packet->at += 4;
    } while (!(packet->data[packet->at - 2] & 1));
    unsigned version = packet->data[packet->at] >> 4;
    packet->type = version == 4 ? TYPE_IPV4 : TYPE_IPV6;
    return version == 4 || version == 6;
}

/* A number of PPP as the EtherType that a filter asks for. */
static bool
enter_pppoe(struct packet *packet)
{
    if (!enter(packet, packet->at + 6, packet->at + 8))
        return false;
    switch (packet->type) {
    case PPP_IPV4:
        packet->type = TYPE_IPV4;
        return true;
    case PPP_IPV6:
        packet->type = TYPE_IPV6;
        return true;
    case PPP_MPLS:
        packet->type = TYPE_MPLS;
        return true;
    case PPP_MPLS_MULTICAST:
        packet->type = TYPE_MPLS_MULTICAST;
        return true;
    default:
        if (packet->type <= PPP_NETWORK_LAYER)
            packet->sketch->types_unknown = true;
        note_number(packet->sketch->types, packet->type);
        return false;
    }
}

/* LLC with SNAP names an EtherType too; `atalk` and `aarp` look for it. */
static void
note_llc(struct packet *packet)
{
    if (there(packet, packet->at, 8) && get_be16(packet->data + packet->at) == 0xAAAA)
        note_number(packet->sketch->types, get_be16(packet->data + packet->at + 6));
}

static bool
begin(struct packet *packet, int link_type)
{
    switch (link_type) {
    case LINK_ETHERNET:
        return enter(packet, ETHERNET_TYPE, ETHERNET_TYPE + 2);
    case LINK_SLL:
        return enter(packet, SLL_TYPE, SLL_TYPE + 2);
    case LINK_SLL2:
        return enter(packet, SLL2_TYPE, SLL2_HEADER);
    case LINK_IPV6:
        packet->type = TYPE_IPV6;
        return true;
    case LINK_RAW:
        packet->type = packet->captured > 0 && packet->data[0] >> 4 == 6 ? TYPE_IPV6 : TYPE_IPV4;
        return true;
    default:
        packet->type = TYPE_IPV4;
        return true;
    }
}

bool
can_sketch(int link_type)
{
    return link_type == LINK_ETHERNET || link_type == LINK_RAW || link_type == LINK_SLL ||
           link_type == LINK_IPV4 || link_type == LINK_IPV6 || link_type == LINK_SLL2;
}

void
sketch_packet(struct sketch *sketch, int link_type, const uint8_t *data, size_t captured)
{
    struct packet packet = {.sketch = sketch, .data = data, .captured = captured};
    bool more = begin(&packet, link_type);

    while (more) {
        if (packet.type <= MOST_LENGTH) {
            note_llc(&packet);
            return;
        }
        note_number(sketch->types, packet.type);
        if (packet.at > captured)
            packet.at = captured;
        switch (packet.type) {
        case TYPE_IPV4:
            more = note_ipv4(&packet);
            break;
        case TYPE_IPV6:
            more = note_ipv6(&packet);
            break;
        case TYPE_VLAN:
        case TYPE_SERVICE_VLAN:
        case TYPE_OLD_QINQ:
            sketch->tagged = true;
            more = enter(&packet, packet.at + 2, packet.at + 4);
            break;
        case TYPE_MPLS:
        case TYPE_MPLS_MULTICAST:
            more = enter_mpls(&packet);
            break;
        case TYPE_PPPOE:
            more = enter_pppoe(&packet);
            break;
        case TYPE_ARP:
        case TYPE_RARP:
            note_arp(&packet);
            return;
        default:
            return;
        }
    }
}
