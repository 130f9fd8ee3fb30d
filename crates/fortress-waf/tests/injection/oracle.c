/* Asks the C libinjection: length-prefixed values on stdin, ten bytes of answer each on stdout. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int libinjection_sqli(const char *text, size_t length, char fingerprint[]);
int libinjection_xss(const char *text, size_t length);

int main(void) {
    unsigned char head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t length = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
        /* Zeros follow the value: the library reads past its end when it decodes entities. */
        char *text = calloc(length + 32, 1);
        char fingerprint[16] = {0}, answer[10] = {0};
        if (text == NULL || fread(text, 1, length, stdin) != length) return 1;
        answer[0] = libinjection_sqli(text, length, fingerprint) == 1;
        if (answer[0]) memcpy(answer + 1, fingerprint, 8);
        answer[9] = libinjection_xss(text, length) == 1;
        fwrite(answer, 1, sizeof answer, stdout);
        free(text);
    }
    return 0;
}
