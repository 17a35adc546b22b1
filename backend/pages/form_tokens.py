"""Changes come from our own forms alone: a token in the form must fit a cookie that other sites neither read nor send.

A browser sends the password of Basic authentication with any request to this address, also with one that a page of
another site makes. So each form carries a signature of a random cookie (SameSite=Strict, HttpOnly). Another site can
make a browser send a form, but neither with the cookie nor with a signature that fits one.

Flask-WTF does the same with a session and WTForms; here it is two functions on itsdangerous, which Flask brings along.
The key lives as long as the process: a form that was opened before a restart is refused, and says so.
"""

from __future__ import annotations

import secrets

from flask import Response, g, request
from itsdangerous import BadSignature, URLSafeSerializer

from backend.errors import RequestError

COOKIE = "ovdiff-page"
FIELD = "token"


class FormTokens:
    """Tokens of forms, signed with a key that only this process knows."""

    def __init__(self, key: bytes | None = None) -> None:
        """Use a key, or make one."""
        self._signer = URLSafeSerializer(key or secrets.token_bytes(32), salt="ovdiff-form")

    def token(self) -> str:
        """Return the token for the forms of the page that is being drawn; its cookie is set by `keep_cookie`."""
        nonce = request.cookies.get(COOKIE) or g.setdefault("page_cookie", secrets.token_urlsafe(24))
        return str(self._signer.dumps(nonce))

    def keep_cookie(self, response: Response) -> Response:
        """Set the cookie if a form of this page needs it and the browser does not have it yet."""
        if (nonce := g.get("page_cookie")) is not None:
            response.set_cookie(
                COOKIE, nonce, path="/page/", httponly=True, samesite="Strict", secure=request.is_secure
            )
        return response

    def require(self) -> None:
        """Refuse a change that does not come from a form of ours.

        Raises:
            RequestError: the form's token is missing or does not fit the cookie.
        """
        nonce = request.cookies.get(COOKIE)
        try:
            signed = self._signer.loads(request.form.get(FIELD, ""))
        except BadSignature:
            signed = None
        if not nonce or not secrets.compare_digest(str(signed).encode(), nonce.encode()):
            raise RequestError(
                "Nothing was changed: the form was opened before the backend was started anew, or the browser keeps no "
                "cookies of this address. Open the page again and repeat the change."
            )
