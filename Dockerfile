# A static binary and nothing else: no shell, no root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/procd ./cmd/procd \
 && mkdir -p /out/data /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/procd /procd
# /data is for --data; a named volume mounted there takes its owner from here.
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/tmp /tmp
USER 65532:65532
EXPOSE 9870
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s CMD ["/procd", "health"]
ENTRYPOINT ["/procd"]
CMD ["--help"]
