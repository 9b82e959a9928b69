"""Rights of the API, by Django's model permissions."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request


class ByAction(BasePermission):
    """Each action of a viewset names the permission that it takes.

    The view's `rights` maps an action to a permission, to True for anybody
    who is signed in, or to None for everybody. An action that is not in it is
    refused: forgetting one must not open it. A method that the view does not
    have passes, since its answer is 405 whoever asks.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """Look the action up."""
        action = view.action
        if action is None or action == "metadata":
            return True
        try:
            right = view.rights[action]
        except KeyError:
            return False
        if right is None:
            return True
        user = request.user
        if not (user and user.is_authenticated):
            return False
        return right is True or user.has_perm(right)
