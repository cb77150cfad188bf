/*
 * The example's network when ESP-IDF builds for the host (target "linux"): a TAP device under lwIP, set by the environment.
 *
 *   TAP      name of the device, which must exist or be creatable; "tap0" if not set
 *   IP       address and prefix, for instance 192.168.5.2/24
 *   GATEWAY  of the default route
 *   DNS      resolver; the gateway if not set
 *   FLASH    a file that is the flash, made when it is not there; not set: what is stored ends with the program
 *
 * A FreeRTOS task of this target that blocks in a system call of the host keeps lower ones from running: the device is read
 * without blocking, once a tick.
 *
 * SPDX-License-Identifier: MIT
 */
#include "esp_netif.h"
#include "esp_private/partition_linux.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "lwip/esp_netif_net_stack.h"
#include "lwip/ethip6.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/tcpip.h"
#include "netif/etharp.h"
#include "network.h"
#include "tap_linux.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME 1518
/** Any id of IP_EVENT will do for who listens to all of them. */
#define GOT_IP IP_EVENT_ETH_GOT_IP

static int tap = -1;
static esp_netif_t *interface;
static struct netif *lwip;
static volatile bool plugged;

static err_t transmit(struct netif *netif, struct pbuf *p)
{
    char frame[FRAME];
    (void)netif;
    if (p->tot_len > sizeof frame) {
        return ERR_BUF;
    }
    pbuf_copy_partial(p, frame, p->tot_len, 0);
    if (plugged && write(tap, frame, p->tot_len) < 0 && errno != EAGAIN && errno != EIO) {
        return ERR_IF;
    }
    return ERR_OK;
}

static err_t init(struct netif *netif)
{
    static const uint8_t mac[6] = {0x02, 0x4d, 0x4c, 0, 0, 1};
    memcpy(netif->hwaddr, mac, sizeof mac);
    netif->hwaddr[5] = (uint8_t)getpid();
    netif->hwaddr_len = sizeof mac;
    netif->name[0] = 't';
    netif->name[1] = 'p';
    netif->mtu = 1500;
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = transmit;
    lwip = netif;
    return ERR_OK;
}

/* lwIP is given frames by receive() and gives them to transmit(): what esp_netif would call is asked for, but not used. */
static esp_err_t no_transmit(void *h, void *buffer, size_t len)
{
    (void)h, (void)buffer, (void)len;
    return ESP_ERR_NOT_SUPPORTED;
}

static void no_input(void)
{
}

static void receive(void *arg)
{
    char frame[FRAME];
    (void)arg;
    for (;;) {
        ssize_t n = read(tap, frame, sizeof frame);
        if (n <= 0) {
            vTaskDelay(1);
            continue;
        }
        struct pbuf *p = plugged ? pbuf_alloc(PBUF_RAW, (u16_t)n, PBUF_RAM) : NULL;
        if (p != NULL && (pbuf_take(p, frame, (u16_t)n) != ERR_OK || lwip->input(p, lwip) != ERR_OK)) {
            pbuf_free(p);
        }
    }
}

void network_linux_set(const char *cidr, const char *gateway, const char *dns)
{
    if (cidr == NULL) {
        plugged = false;
        esp_netif_action_disconnected(interface, NULL, 0, NULL);
        return;
    }
    char address[16] = "";
    unsigned bits = 24;
    sscanf(cidr, "%15[0-9.]/%u", address, &bits);
    esp_netif_ip_info_t ip = {.ip.addr = ipaddr_addr(address)};
    ip.netmask.addr = lwip_htonl(bits ? UINT32_MAX << (32 - bits) : 0);
    ip.gw.addr = gateway != NULL ? ipaddr_addr(gateway) : 0;
    esp_netif_dns_info_t resolver = {.ip.type = ESP_IPADDR_TYPE_V4};
    resolver.ip.u_addr.ip4.addr = dns != NULL ? ipaddr_addr(dns) : ip.gw.addr;
    plugged = true;
    ESP_ERROR_CHECK(esp_netif_set_ip_info(interface, &ip));
    esp_netif_action_connected(interface, NULL, 0, NULL);
    esp_netif_set_dns_info(interface, ESP_NETIF_DNS_MAIN, &resolver);
}

void network_linux_start(void)
{
    const char *name = getenv("TAP"), *cidr = getenv("IP");
    setvbuf(stdout, NULL, _IOLBF, 0); /* As on a device, also into a file. */
    tap = tap_linux_open(name != NULL ? name : "tap0");
    if (tap < 0 || cidr == NULL) {
        fprintf(stderr, "network: set IP=address/prefix, and TAP to a TAP device that may be opened (%s)\n", strerror(errno));
        exit(1);
    }
    static const esp_netif_inherent_config_t base = {.flags = ESP_NETIF_FLAG_AUTOUP | ESP_NETIF_FLAG_EVENT_IP_MODIFIED,
                                                     .get_ip_event = GOT_IP,
                                                     .if_key = "TAP",
                                                     .if_desc = "tap",
                                                     .route_prio = 100};
    static const esp_netif_driver_ifconfig_t driver = {.handle = &tap, .transmit = no_transmit};
    /* Cast, since the type of the second depends on the version. */
    static const esp_netif_netstack_config_t stack = {.lwip = {.init_fn = init, .input_fn = (void *)no_input}};
    const esp_netif_config_t cfg = {.base = &base, .driver = &driver, .stack = &stack};
    interface = esp_netif_new(&cfg);
    esp_netif_action_start(interface, NULL, 0, NULL);
    network_linux_set(cidr, getenv("GATEWAY"), getenv("DNS"));
    xTaskCreate(receive, "tap", 8192, NULL, configMAX_PRIORITIES - 2, NULL);
}

void network_linux_flash(void)
{
    const char *flash = getenv("FLASH");
    esp_partition_file_mmap_ctrl_t *ctl = esp_partition_get_file_mmap_ctrl_input();
    if (flash != NULL && access(flash, R_OK) == 0) {
        snprintf(ctl->flash_file_name, sizeof ctl->flash_file_name, "%s", flash);
    }
}

void network_linux_flash_made(void)
{
    const char *flash = getenv("FLASH");
    if (flash != NULL && access(flash, R_OK) != 0) {
        /* The first start made a file of its own: keep it under the name that the next one asks for. */
        (void)link(esp_partition_get_file_mmap_ctrl_act()->flash_file_name, flash);
    }
}
