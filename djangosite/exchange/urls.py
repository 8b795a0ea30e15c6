"""The addresses of the site."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from exchange.orders import views

urlpatterns = [
    path("", views.page, {"way": "native"}, name="native"),
    path("socketio/", views.page, {"way": "socketio"}, name="socketio"),
    path("sockjs/", views.page, {"way": "sockjs"}, name="sockjs"),
    path("sse/", views.page, {"way": "sse"}, name="sse"),
    path("orders/", views.rows, name="rows"),
    path("orders/people/", views.people, name="people"),
    path("orders/<int:pk>/lock/", views.lock, name="lock"),
    path("orders/<int:pk>/done/", views.done, name="done"),
    path(
        "accounts/login/",
        LoginView.as_view(template_name="accounts/login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    # What a browser asks for at pages that name no icon, such as the admin's.
    path("favicon.ico", RedirectView.as_view(url=static("exchange/icon.svg"))),
]
