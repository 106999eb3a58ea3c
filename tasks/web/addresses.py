"""Addresses of pages: only http and https, no credentials in them, and always the same host."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from tasks.errors import InputError

_PORTS = {"http": 80, "https": 443}


def checked_url(url: str) -> str:
    """The URL; ValueError where pages cannot, or must not, be read from it."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("a URL starts with http:// or https://, and names a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL holds no user and password; name the place where they are kept")
    return url


def without_query(url: str) -> str:
    """The URL without parameters and fragment."""
    return urlunsplit((*urlsplit(url)[:3], "", ""))


def with_parameter(url: str, name: str, value: str) -> str:
    """The URL with that query parameter, instead of one that it has."""
    parts = urlsplit(url)
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != name]
    return urlunsplit((*parts[:3], urlencode([*kept, (name, value)]), ""))


def parameter(url: str, name: str) -> str | None:
    """The value of a query parameter; None without one."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)).get(name)


def followed(url: str, link: str) -> str:
    """Where a link of the page at ``url`` leads; InputError if to another host, or out of https."""
    try:
        target = checked_url(urljoin(url, link))
        is_same = _place(target) == _place(url) or _is_upgrade(url, target)
    except ValueError as error:
        raise InputError(f"{without_query(url)} leads to a place that is no URL: {error}") from None
    if not is_same:
        raise InputError(
            f"{without_query(url)} leads to {without_query(target)}: pages and redirects must "
            "stay on their host; load that source by its own address"
        )
    return target


def _place(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _is_upgrade(url: str, target: str) -> bool:
    """From http to https on the usual ports of one host."""
    host = urlsplit(url).hostname
    return _place(url) == ("http", host, 80) and _place(target) == ("https", host, 443)
